package proctest

const seccomp, memfdCreate = 277, 279 // numbers of system calls
