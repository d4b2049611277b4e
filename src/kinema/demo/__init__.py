"""The whole story on generated clips: what `kinema demo` runs and the page it leaves."""
