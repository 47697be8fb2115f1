"""curl, for pages that show it: the machine's, else Debian's."""

import os
import shutil

from testkit.debian import libraries_in, unpacked

# Itself, and what it links to beyond a minimal Debian.
_PACKAGES = (
    "curl", "libbrotli1", "libcurl4", "libffi8", "libgmp10", "libgnutls30", "libgssapi-krb5-2", "libhogweed6", "libidn2-0",
    "libk5crypto3", "libkeyutils1", "libkrb5-3", "libkrb5support0", "libldap-2.5-0", "libnettle8", "libnghttp2-14",
    "libp11-kit0", "libpsl5", "librtmp1", "libsasl2-2", "libssh2-1", "libssl3", "libtasn1-6", "libunistring2", "libzstd1",
)  # fmt: skip


def environment_with_curl(path: str = "") -> dict[str, str]:
    """Variables for commands that call it; `path` comes before the other places to look for programs."""
    places = f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]
    if shutil.which("curl"):
        return {"PATH": places}
    root = unpacked("curl", _PACKAGES)
    return {"PATH": f"{root}/usr/bin:{places}", "LD_LIBRARY_PATH": libraries_in(root)}
