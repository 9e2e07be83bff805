"""What goes into a guest's filesystems: Debian packages, the programs in them, and the images made of those."""
