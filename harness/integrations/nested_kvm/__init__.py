"""A lab: a VM under TCG whose KVM runs guests. Any command of the harness runs in it, on a host without KVM.

L0 is the QEMU on the host, L1 the Linux in it whose KVM works, L2 the guests under that KVM. docs/guide/lab.md
says what it is for, docs/results/lab.md what it costs.
"""
