package proctest

const seccomp = 277 // the system call's number
