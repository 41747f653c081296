//go:build linux && (amd64 || arm64)

package sys

import (
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A RobustList is what the kernel goes through when a thread ends: it marks each
// word that holds the thread's id, and wakes one of its waiters
// (set_robust_list(2), Documentation/locking/robust-futex-ABI.rst).
//
// The kernel finds a word at a fixed distance from its node in the list, the same
// for all. Here that is one page: each word's page is mapped a second time, with
// a private page before it that has the node. So the list lies in memory that no
// other process can reach, whatever it does to the words.
type RobustList struct {
	head  *robustHead
	nodes []*robustNode // as they stand in the list
}

// robustHead is the kernel's struct robust_list_head.
type robustHead struct {
	first   uintptr // of the list; the head itself if it is empty
	offset  int64   // from a node to its word
	pending uintptr // a word that is being taken; not used, ours are taken once and for all
}

// robustNode is the kernel's struct robust_list.
type robustNode struct{ next uintptr }

// NewRobustList returns an empty list.
func NewRobustList() (*RobustList, error) {
	// Not from the heap: the kernel has the address as long as the thread lives.
	page, err := Mmap(0, os.Getpagesize(), ProtRead|ProtWrite, MapPrivate|MapAnonymous, -1, 0)
	if err != nil {
		return nil, err
	}
	head := (*robustHead)(unsafe.Pointer(unsafe.SliceData(page)))
	head.first, head.offset = uintptr(unsafe.Pointer(head)), int64(os.Getpagesize())
	return &RobustList{head: head}, nil
}

// Bind makes it the calling thread's list. The goroutine must be locked to the
// thread for good.
func (l *RobustList) Bind() error {
	_, _, errno := unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, uintptr(unsafe.Pointer(l.head)), unsafe.Sizeof(robustHead{}), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// A RobustWord is a word of a file that is in a list.
type RobustWord struct {
	list  *RobustList
	pages []byte // private, then shared
	node  *robustNode
	word  *atomic.Uint32
}

// Add maps the word at offset, which is a multiple of 8, of the file and enters it
// into the list. One call of Add or Remove at a time.
func (l *RobustList) Add(fd int, offset int64) (*RobustWord, error) {
	page := os.Getpagesize()
	pages, err := Mmap(0, 2*page, ProtRead|ProtWrite, MapPrivate|MapAnonymous, -1, 0)
	if err != nil {
		return nil, err
	}
	in := offset % int64(page)
	// Over the second page, which is ours, so that nothing else is replaced.
	_, _, errno := unix.Syscall6(unix.SYS_MMAP, address(pages)+uintptr(page), uintptr(page), ProtRead|ProtWrite, unix.MAP_SHARED|unix.MAP_FIXED, uintptr(fd), uintptr(offset-in))
	if errno == 0 {
		err = Madvise(pages[page:], MadvDontFork)
	} else {
		err = errno
	}
	if err != nil {
		Munmap(pages)
		return nil, err
	}
	w := &RobustWord{
		list: l, pages: pages,
		node: (*robustNode)(unsafe.Pointer(&pages[in])),
		word: (*atomic.Uint32)(unsafe.Pointer(&pages[int64(page)+in])),
	}
	// The thread can end between any two instructions: first the node, then what
	// leads to it.
	w.node.next = l.head.first
	atomic.StoreUintptr(&l.head.first, uintptr(unsafe.Pointer(w.node)))
	l.nodes = append(l.nodes, w.node)
	return w, nil
}

// Word returns the word.
func (w *RobustWord) Word() *atomic.Uint32 { return w.word }

// Wake wakes all who sleep on the word.
func (w *RobustWord) Wake() { FutexWake((*uint32)(unsafe.Pointer(w.word)), FutexAll, FutexAnyBit) }

// Bytes returns the whole page of the file that the word is in.
func (w *RobustWord) Bytes() []byte { return w.pages[len(w.pages)/2:] }

// Remove takes the word out of the list and unmaps it.
func (w *RobustWord) Remove() error {
	l := w.list
	for i, node := range l.nodes {
		if node != w.node {
			continue
		}
		// The list begins with the newest.
		before := &l.head.first
		if i+1 < len(l.nodes) {
			before = &l.nodes[i+1].next
		}
		atomic.StoreUintptr(before, node.next)
		l.nodes = append(l.nodes[:i], l.nodes[i+1:]...)
		break
	}
	runtime.KeepAlive(l)
	return Munmap(w.pages)
}

// Len returns how many words are in the list. The kernel goes no further than
// 2048.
func (l *RobustList) Len() int { return len(l.nodes) }

// WipedOnFork returns a word, 0 for now, that is 0 again in every child that this
// process forks.
func WipedOnFork() (*atomic.Uint32, error) {
	page, err := Mmap(0, os.Getpagesize(), ProtRead|ProtWrite, MapPrivate|MapAnonymous, -1, 0)
	if err == nil {
		err = Madvise(page, MadvWipeOnFork)
	}
	if err != nil {
		return nil, err
	}
	return (*atomic.Uint32)(unsafe.Pointer(unsafe.SliceData(page))), nil
}
