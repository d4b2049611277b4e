"""Videos that strangers send: limits, conversion to what browsers play, and folders that end with a visitor's session.

Nothing here knows a web page: `kinema app` uses it, and so can any other server.
"""
