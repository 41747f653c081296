package history

import (
	"math"
	"testing"

	"github.com/anishathalye/porcupine"
)

// An act is one operation of a planted history: when it began and ended, of which
// process, and how. An end of forever is that of one that was killed.
type act struct {
	begin, end int64
	process    int
	op         op
	arg        uint32
	answer     answer
	out        uint32
}

const forever = math.MaxInt64

// The checker refuses what cannot have been, for the reason that is planted: beside
// each wrong history stands one that differs in that alone, and is accepted.
func TestPlantedHistories(t *testing.T) {
	mutex, semaphore, manual, automatic := mutexModel.checker(), semaphoreModel.checker(), eventModel(false).checker(), eventModel(true).checker()
	for name, tc := range map[string]struct {
		model       porcupine.Model
		wrong, fine []act
	}{
		"two hold the mutex": {mutex,
			[]act{{0, 1, 0, lock, 0, ok, 0}, {2, 3, 1, lock, 0, ok, 0}, {4, 5, 0, unlock, 0, ok, 0}},
			[]act{{0, 1, 0, lock, 0, ok, 0}, {2, 5, 1, lock, 0, ok, 0}, {4, 6, 0, unlock, 0, ok, 0}}},
		"busy, and nobody holds it": {mutex,
			[]act{{0, 1, 0, lock, 0, ok, 0}, {2, 3, 0, unlock, 0, ok, 0}, {4, 5, 1, tryLock, 0, busy, 0}},
			[]act{{0, 1, 0, lock, 0, ok, 0}, {2, 5, 0, unlock, 0, ok, 0}, {4, 6, 1, tryLock, 0, busy, 0}}},
		"taken from the living": {mutex,
			[]act{{0, 1, 0, lock, 0, ok, 0}, {2, 3, 1, lock, 0, ownerDied, 0}},
			[]act{{0, 1, 0, lock, 0, ok, 0}, {2, 4, 1, lock, 0, ownerDied, 0}, {3, 5, 0, die, 0, ok, 0}}},
		"the dead were not spoken of": {mutex,
			[]act{{0, 1, 0, lock, 0, ok, 0}, {2, 3, 0, die, 0, ok, 0}, {4, 5, 1, lock, 0, ok, 0}},
			[]act{{0, 1, 0, lock, 0, ok, 0}, {2, 3, 0, die, 0, ok, 0}, {4, 5, 1, lock, 0, ownerDied, 0}}},
		"a Lock that was killed, taken back": {mutex,
			[]act{{0, forever, 0, lock, 0, unknown, 0}, {1, 2, 1, tryLock, 0, busy, 0}, {3, 4, 1, lock, 0, ok, 0}},
			[]act{{0, forever, 0, lock, 0, unknown, 0}, {1, 2, 1, tryLock, 0, busy, 0}, {3, 4, 0, die, 0, ok, 0}, {5, 6, 1, lock, 0, ownerDied, 0}}},
		"an act after death": {mutex,
			[]act{{0, forever, 0, lock, 0, unknown, 0}, {1, 2, 0, die, 0, ok, 0}, {3, 4, 1, lock, 0, ok, 0}, {5, 6, 1, unlock, 0, ok, 0}, {7, 8, 1, lock, 0, ownerDied, 0}},
			[]act{{0, forever, 0, lock, 0, unknown, 0}, {1, 2, 0, die, 0, ok, 0}, {3, 4, 1, lock, 0, ok, 0}, {5, 6, 1, unlock, 0, ok, 0}, {7, 8, 1, lock, 0, ok, 0}}},
		"locked, and unrecoverable": {mutex,
			[]act{{0, 1, 0, lock, 0, ok, 0}, {2, 3, 0, die, 0, ok, 0}, {4, 5, 1, lock, 0, ownerDied, 0}, {6, 7, 1, unlock, 0, unrecoverable, 0}, {8, 9, 2, lock, 0, ok, 0}},
			[]act{{0, 1, 0, lock, 0, ok, 0}, {2, 3, 0, die, 0, ok, 0}, {4, 5, 1, lock, 0, ownerDied, 0}, {6, 7, 1, unlock, 0, unrecoverable, 0}, {8, 9, 2, recoverIt, 0, ok, 0}}},
		"one permit, two have it": {semaphore,
			[]act{{0, 1, 0, post, 1, ok, 0}, {2, 3, 1, acquire, 0, ok, 0}, {4, 5, 2, tryAcquire, 0, ok, 0}, {6, 7, 1, release, 0, ok, 0}},
			[]act{{0, 1, 0, post, 1, ok, 0}, {2, 3, 1, acquire, 0, ok, 0}, {4, 7, 2, tryAcquire, 0, ok, 0}, {6, 8, 1, release, 0, ok, 0}}},
		"a permit that was lost": {semaphore,
			[]act{{0, 1, 0, post, 2, ok, 0}, {2, 3, 1, waitFor, 0, ok, 0}, {4, 5, 2, tryWait, 0, busy, 0}},
			[]act{{0, 1, 0, post, 2, ok, 0}, {2, 3, 1, waitFor, 0, ok, 0}, {4, 5, 2, tryWait, 0, ok, 0}, {6, 7, 2, tryWait, 0, busy, 0}}},
		"the dead kept a permit": {semaphore,
			[]act{{0, 1, 0, post, 1, ok, 0}, {2, 3, 1, acquire, 0, ok, 0}, {4, 5, 1, die, 0, ok, 0}, {6, 7, 2, tryAcquire, 0, busy, 0}},
			[]act{{0, 1, 0, post, 1, ok, 0}, {2, 3, 1, acquire, 0, ok, 0}, {4, 7, 1, die, 0, ok, 0}, {6, 8, 2, tryAcquire, 0, busy, 0}}},
		"the dead returned what was taken for good": {semaphore,
			[]act{{0, 1, 0, post, 1, ok, 0}, {2, 3, 1, waitFor, 0, ok, 0}, {4, 5, 1, die, 0, ok, 0}, {6, 7, 2, tryAcquire, 0, ok, 0}},
			[]act{{0, 1, 0, post, 1, ok, 0}, {2, 3, 1, acquire, 0, ok, 0}, {4, 5, 1, die, 0, ok, 0}, {6, 7, 2, tryAcquire, 0, ok, 0}}},
		"a Post that was killed, done twice": {semaphore,
			[]act{{0, forever, 0, post, 1, unknown, 0}, {1, 2, 1, tryWait, 0, ok, 0}, {3, 4, 1, tryWait, 0, ok, 0}},
			[]act{{0, forever, 0, post, 1, unknown, 0}, {1, 2, 1, tryWait, 0, ok, 0}, {3, 4, 1, tryWait, 0, busy, 0}}},
		"released, and not held": {semaphore,
			[]act{{0, 1, 0, post, 1, ok, 0}, {2, 3, 1, release, 0, ok, 0}},
			[]act{{0, 1, 0, post, 1, ok, 0}, {2, 3, 1, release, 0, notHeld, 0}}},
		"a set manual event is not": {manual,
			[]act{{0, 1, 0, set, 0, ok, 0}, {2, 3, 1, waitFor, 0, ok, 0}, {4, 5, 2, tryWait, 0, no, 0}},
			[]act{{0, 1, 0, set, 0, ok, 0}, {2, 3, 1, waitFor, 0, ok, 0}, {4, 5, 2, tryWait, 0, ok, 0}}},
		"let go without a set": {manual,
			[]act{{0, 1, 0, set, 0, ok, 0}, {2, 3, 0, reset, 0, ok, 0}, {4, 5, 1, waitFor, 0, ok, 0}},
			[]act{{1, 2, 0, set, 0, ok, 0}, {3, 4, 0, reset, 0, ok, 0}, {0, 5, 1, waitFor, 0, ok, 0}}},
		"a change that was none": {manual,
			[]act{{0, 1, 0, set, 0, ok, 0}, {2, 3, 1, waitAfter, 1, ok, 1}},
			[]act{{0, 1, 0, set, 0, ok, 0}, {2, 3, 1, waitAfter, 0, ok, 1}}},
		"a count that went back": {manual,
			[]act{{0, 1, 0, set, 0, ok, 0}, {2, 3, 1, count, 0, ok, 1}, {4, 5, 2, count, 0, ok, 0}},
			[]act{{0, 5, 0, set, 0, ok, 0}, {4, 6, 1, count, 0, ok, 1}, {2, 3, 2, count, 0, ok, 0}}},
		"an automatic event, taken twice": {automatic,
			[]act{{0, 1, 0, set, 0, ok, 0}, {2, 3, 1, waitFor, 0, ok, 0}, {4, 5, 2, tryWait, 0, ok, 0}},
			[]act{{0, 1, 0, set, 0, ok, 0}, {2, 3, 1, waitFor, 0, ok, 0}, {4, 5, 2, tryWait, 0, no, 0}}},
		"an automatic event, lost": {automatic,
			[]act{{0, 1, 0, set, 0, ok, 0}, {2, 3, 1, waitFor, 0, late, 0}, {4, 5, 2, tryWait, 0, no, 0}},
			[]act{{0, 1, 0, set, 0, ok, 0}, {2, forever, 1, waitFor, 0, unknown, 0}, {4, 5, 2, tryWait, 0, no, 0}}},
	} {
		if got := verdict(tc.model, acts(tc.wrong)); got != porcupine.Illegal {
			t.Errorf("%s: the wrong history is %v:\n%s", name, got, text(acts(tc.wrong)))
		}
		if got := verdict(tc.model, acts(tc.fine)); got != porcupine.Ok {
			t.Errorf("%s: the fine history is %v:\n%s", name, got, text(acts(tc.fine)))
		}
	}
}

func acts(all []act) (history []porcupine.Operation) {
	for _, a := range all {
		client := a.process
		if a.op == die {
			client = processes
		}
		history = append(history, porcupine.Operation{
			ClientId: client, Input: call{a.process, a.op, a.arg}, Output: reply{a.answer, a.out}, Call: a.begin, Return: a.end,
		})
	}
	return history
}
