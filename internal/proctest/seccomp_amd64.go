package proctest

const seccomp, memfdCreate = 317, 319 // numbers of system calls
