"""What a report says of itself: whether it may leave the site. Reports write it, and releases take no other."""

KEY = "travels"
"""In ``metrics.json``: true only if it holds numbers over groups of patients, as they may be told."""
TRAVELS = '<meta name="radfed-travels" content="true">'
"""In the head of a page that may leave the site."""
STAYS = "Stays at the site."
"""On a page that may not."""
