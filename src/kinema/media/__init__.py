"""Videos from untrusted visitors: limits, conversion for browsers, and folders removed at the end of a session.

Nothing here depends on a web page: `kinema app` uses it, and any other server can.
"""
