"""Class Feature Pyramids (thesis, sections 7.5 and 8.1.4).

- `origins`: numbers for channels.
- `follow`: follows channels through operations.
- `kernels`: the kernels of layers.
- `provenance`: traces a network with these three.
- `plan`: finds the layers within reach of the class.
- `read`: records the inputs of these layers for a clip.
- `backstep`: chooses channels.
- `walk`: the whole method.
- `graph`: the result, and `draw`: its drawing.
"""
