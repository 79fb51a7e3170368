"""How many people a group needs before a figure about it is shown: of fewer, a reader could tell who they are."""

# A check of batch.statistics_group says so too.
SMALLEST_GROUP = 5
