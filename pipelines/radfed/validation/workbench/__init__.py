"""The review workbench: readers judge a release's masks in the browser, a lead signs off."""
