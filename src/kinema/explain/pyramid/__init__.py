"""Class Feature Pyramids (thesis, sections 7.5 and 8.1.4).

`origins` numbers channels, `follow` follows them through operations, `kernels` says what layers see, and `provenance`
traces a network with these three. `plan` finds which layers lie in reach of the class, `read` notes what they read of a
clip, `backstep` chooses channels, `walk` puts it together. `graph` is the result and `draw` its picture.
"""
