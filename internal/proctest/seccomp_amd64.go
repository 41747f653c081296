package proctest

const seccomp = 317 // the system call's number
