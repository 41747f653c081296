// Package meet has the processes of a machine find each other (layer L4, beneath
// the root package). It knows nothing of what they are for.
//
// A domain is a folder. A [Node] is a participant of it: it has a socket there, and
// for each [Port] that is added a file that says so. Whoever adds a port looks who
// has ports of the same kind and name, and of another role, and connects to those;
// then the two tell each other their ports. After that the connection carries what
// the ports send each other, descriptors included, and its end says that the peer is
// gone. There is no daemon, nothing polls, and who does not share a name has no
// connection.
//
// What passes over a socket, and why of two connections that a pair begins at the
// same time the same one stays on both sides, is in spec/protocol.md.
//
// # Death
//
// A peer is gone when its socket ends or its process has ended: it has left, has
// executed another program, or has died. Then, after everything that it has sent, the
// handlers see its ports lost. A peer that is stopped is not gone, and holds nobody
// up: nothing here waits for a peer but Add, and that for 100 ms, or a second if it is seen to be running.
//
// What a participant that was killed has left in the folder is removed by whoever
// comes upon it, and by everybody who opens the domain. What belongs to another boot,
// that is to another kernel with which the folder is shared, is left alone.
//
// # Peers are not trusted
//
// Only processes of the same user, and of users that are named, get in. What they
// send is checked; whoever sends something that is not of the protocol is told so,
// dropped, and not met again; [Node.Troubles] has the reason.
package meet
