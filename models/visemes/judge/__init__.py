"""Who judges lips: speech that training never heard, measures, the yardsticks beside ours, quiet, rendered video."""
