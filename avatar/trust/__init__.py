"""Labels and provenance: what is put on a picture besides the badge, and how it is found again."""
