"""Whether the server of this container is there: its socket for gRPC takes connections, and each given address answers.

    healthcheck.py [URL ...]        the data folder is $TRIALOG_DATA

A process that stands by for another one has the socket too: it is well. Ends with 1 and a line when something is not there.
Standard library only.
"""

import os
import pathlib
import socket
import ssl
import sys
import urllib.request

TIMEOUT_SECONDS = 4


def main(urls):
    path = pathlib.Path(os.environ["TRIALOG_DATA"]) / "run" / "trialog.sock"
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(TIMEOUT_SECONDS)
        door.connect(str(path))
    # The certificate is for the names that clients use, and this asks its own machine.
    own = ssl.create_default_context()
    own.check_hostname, own.verify_mode = False, ssl.CERT_NONE
    for url in urls:
        urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS, context=own).close()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        print(f"not well: {error}")
        sys.exit(1)
