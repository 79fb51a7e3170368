"""The minimum size of a group in statistics and reports. A figure about fewer users could identify them."""

# A check constraint of batch.statistics_group repeats this number.
SMALLEST_GROUP = 5
