"""Makes a guest's filesystems: Debian packages, programs from them, and images of both."""
