"""Converts video files and folders of frames to pixels. `kinema.data.video` is the public interface.

A file passes four steps: `packets` (the contents of the file), `frame_table` (which packet shows which frame, when, and
where decoding must start for it), `decoder` (decodes no more than needed), `picture` (a decoded frame as RGB).

FFmpeg, through PyAV, does all demuxing and decoding. This package adds two things that FFmpeg does not provide.

First, exact frames by number. Every frame has the same bits as when the whole file is decoded.

- `sample_table` reads the list of packets of an MP4 file from its own tables, so that opening need not read all
  packets. Opening a 3-minute file takes 30 ms instead of 106 ms, and reading a 2 s clip of it 205 ms instead of 251 ms.
  For 10 s files there is no gain. It needs PyAV 17; with older releases all packets are read.
- `bitstream` inspects packets if the container does not say how many frames a packet shows. VP8 and VP9 have hidden
  frames, and MPEG-4 in AVI may pack two frames into one packet; without this, all later frames would have wrong
  numbers. It also finds where decoding of H.264 may start, because not every packet marked as a keyframe is suitable.
  Exact recovery points make open GOPs seekable; otherwise their frames would be decoded from the beginning of the
  file. `needs_first_packet` gives exact bits for Xvid's AVI files, whose first packet selects the transform, and for
  4:4:4 files of x264 before build 151, which FFmpeg decodes in another way.

Second, detection of damage. A frame that depends on lost or damaged data is rejected and never returned.

- `damage` and `transport` find the packets to which the losses belong that a container reports. FFmpeg's own flags are
  one packet too early in transport streams, or are dropped.
- `bitstream.is_torn` finds bytes that no encoder writes, such as a run of zeros within a picture. FFmpeg conceals them,
  and for HEVC and VP9 it usually reports nothing.
- `picture_numbers` checks the numbers that an H.264 encoder gives its reference pictures (`frame_num`). They show that
  a reference picture was lost, duplicated or swapped, in any container; FFmpeg conceals it. It also compares the order
  in which the encoder displays pictures (`pic_order_cnt_lsb`) with the stamps, which shows swapped B frames.
- `decoder` records what FFmpeg reports itself (errors, and frames flagged as corrupt), and keyframes that are not
  output although later frames are. It holds back each frame until all frames that were decoded before it are output.
  After damage it continues with a new decoder, because tables and headers of a damaged picture survive flushing.
- MJPEG is decoded strictly (`err_detect=explode`): otherwise FFmpeg fills the rest of a damaged picture with old
  memory, sometimes with all of another frame.

The following damage is not detected:

- changed bytes that can still be decoded (single bits, short noise), mainly in HEVC, VP8 and VP9, whose decoders have
  no check;
- a run of zeros that ends exactly where a start code begins;
- whole packets missing from Matroska, from MPEG program streams and from raw streams, and packets that were lost or
  swapped before a file was written again, so that their numbers have changed too; the reference pictures of H.264 are
  an exception, unless they were swapped between two groups of pictures and have the same number in both;
- B frames of H.264 that no other frame needs, if they are lost;
- 16 (or 32, ...) transport packets lost in a row, after which the continuity counter is the same again.

A frame that such damage has reached may depend on where decoding started. Strict decoding was tried on 13 kinds of
files with six kinds of damage: except for MJPEG, it found 6 of about 250 wrong frames, and rejected intact ones.
`tools/fuzz_videos.py` counts which damage is detected.
"""
