"""An RTSP server for the tests: GStreamer's, which plays a film to whoever connects. Run by the system's Python.

/usr/bin/python3 rtsp_server.py FILM PORT
"""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

film, port = sys.argv[1:]
Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service=port)
factory = GstRtspServer.RTSPMediaFactory(shared=True)
factory.set_launch(f'( filesrc location="{film}" ! qtdemux ! rtph264pay name=pay0 config-interval=1 )')
server.get_mount_points().add_factory("/live", factory)
if server.attach() == 0:
    sys.exit(f"port {port} is taken")
GLib.MainLoop().run()
