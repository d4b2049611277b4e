"""The web page of `kinema app`; Gradio (extra `app`) is imported when a page is built, not before."""
