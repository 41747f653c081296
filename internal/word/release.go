//go:build !amd64 || race || explore || stores

package word

// StoreRelease stores a word so that whoever sees the value sees all that was
// stored before it. Unlike with Store, what is loaded afterwards may be older: no
// look at what others have stored may depend on it.
func StoreRelease(w *Uint64, v uint64) { w.Store(v) }
