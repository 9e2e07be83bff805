"""The test and regression harness for the OSv unikernel."""
