"""The page of a study of opinion, and its server."""
