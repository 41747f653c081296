// Package explore runs a few processes' worth of production code in every order
// in which their accesses to shared words can follow each other, with processes
// killed at every point, and looks at every state that can be reached.
//
// It is compiled with the build tag explore only. Then the words of package word
// tell it of every access, and the futexes of package wait and the deaths of
// package life are its own: what runs is the source of the program, on one
// thread, a step at a time. Without the tag the package is empty.
//
// # What is explored
//
// A step is an access to a shared word and what a process does by itself until
// its next. The order of steps is sequentially consistent, as memlane's axiom
// says of its words (package word); what a weaker order of plain bytes would do
// is not seen here. A process that is killed can go on for any number of steps
// before it is stopped, in which its life word may be marked already; after that
// the others learn at any later time that it is gone.
//
// States that have been seen are not gone through again. Two are taken for the
// same if shared memory is the same and every process has seen the same.
//
// What is still too much may be [Config.Reduced]: then steps that nobody can tell from
// none come at once, and who comes before whom there is left out.
//
// What has too many states for [Run] is left to [Walk]: ways to the end by lot, each of
// which follows from a seed and its number.
//
// # What is told
//
// The way to an error that is told is not the one that was found, with all that does not
// matter for it, but a shortest one: see [Failure].
package explore
