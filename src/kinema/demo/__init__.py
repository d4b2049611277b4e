"""The demo: the whole workflow on generated clips, and the page that it writes."""
