"""How a video file or a folder of frames becomes pixels. `kinema.data.video` is the public entrance.

A file passes four steps: `packets` (what the file stores), `frame_table` (which packet shows which frame, when, and
where decoding must begin for it), `decoder` (decodes no more than needed), `picture` (a decoded frame as RGB).

FFmpeg, through PyAV, does all demuxing and decoding. This package adds two things that FFmpeg does not give:

Exact frames by number. Every frame has the bits that decoding the whole file gives at that place.

- `sample_table` reads which packets an MP4 file has from its own tables, so that opening need not read all packets.
  Opening a 3-minute file takes 30 ms instead of 106 ms, and reading a 2 s clip of it 205 ms instead of 251 ms. On 10 s
  files it gains nothing. It needs PyAV 17; older releases read all packets.
- `bitstream` looks into packets where the container does not say how many frames a packet shows. VP8 and VP9 have
  hidden frames, MPEG-4 in AVI may pack two frames into one packet; without these look-ups all later frames would have
  wrong numbers. It also finds out where decoding of H.264 may begin: not every packet marked as a keyframe will do.
  Seeing an exact recovery point makes open GOPs seekable, whose frames would else be decoded from the beginning of the
  file. `needs_first_packet` keeps the bits of Xvid's AVI files, whose first packet selects the transform, and of
  4:4:4 files of x264 before build 151, which FFmpeg decodes in another way.

Damage that is proven. A frame that depends on lost or damaged data is refused and never handed out.

- `damage` and `transport` find the packets to which the losses belong that a container reports. FFmpeg's own flags
  stand one packet too early in transport streams, or are dropped.
- `bitstream.is_torn` finds bytes that no encoder writes, such as a run of zeros within a picture. FFmpeg conceals
  these, and for HEVC and VP9 it mostly says nothing.
- `picture_numbers` follows the numbers that an H.264 encoder gives its reference pictures (`frame_num`). A reference that
  was lost, repeated or exchanged shows there, in any container; FFmpeg conceals it.
- `decoder` notes what FFmpeg reports itself (errors, and frames flagged as corrupt), and a keyframe that does not come
  out though later frames do. It holds back each frame until all frames that were decoded before it have come out.
- MJPEG is decoded strictly (`err_detect=explode`): of a damaged picture FFmpeg else shows the rest as it lay in memory,
  sometimes all of another frame.

What remains unseen: changed bytes that still decode (single bits, short noise), above all in HEVC, VP8 and VP9, whose
decoders have no check; a run of zeros that ends exactly where a start code begins; whole packets that vanish from
Matroska, from MPEG program streams and from raw streams, or stand in each other's place since a file was written again,
except the reference pictures of H.264; B frames of H.264 that no other frame needs, lost or exchanged; and 16 (or 32, ...) transport packets lost in a row, after
which the continuity counter is the same again. What a frame shows that such damage has reached may depend on where
decoding began. Strict decoding was tried on 13 kinds of file with six kinds of damage: outside MJPEG it found 6 of
about 250 wrong frames, and refused sound ones. `tools/fuzz_videos.py` counts what is seen and what is not.
"""
