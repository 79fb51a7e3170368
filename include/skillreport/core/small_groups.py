"""The minimum size of a group in statistics and reports: a figure about fewer people could identify them."""

# A check constraint of batch.statistics_group repeats this number.
SMALLEST_GROUP = 5
