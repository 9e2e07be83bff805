"""A plugin of QEMU that writes down what the vCPUs of a guest do, and how it is built and read."""
