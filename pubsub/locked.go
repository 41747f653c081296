package pubsub

import "context"

// Locked returns a publisher of the same messages that any number of goroutines may
// use at once: they take turns. The Publisher itself must not be used beside it,
// but for Close, WaitSubscribers and Subscribers.
func (p *Publisher) Locked() *LockedPublisher { return &LockedPublisher{p: p} }

// LockedPublisher is a publisher that several goroutines share. One that waits for
// room keeps the others waiting too.
type LockedPublisher struct{ p *Publisher }

// Publish is [Publisher.Publish].
func (l *LockedPublisher) Publish(ctx context.Context, message []byte) error {
	l.p.turns.Lock()
	defer l.p.turns.Unlock()
	return l.p.Publish(ctx, message)
}

// TryPublish is [Publisher.TryPublish].
func (l *LockedPublisher) TryPublish(message []byte) error {
	l.p.turns.Lock()
	defer l.p.turns.Unlock()
	return l.p.TryPublish(message)
}

// PublishBatch is [Publisher.PublishBatch].
func (l *LockedPublisher) PublishBatch(ctx context.Context, messages [][]byte) error {
	l.p.turns.Lock()
	defer l.p.turns.Unlock()
	return l.p.PublishBatch(ctx, messages)
}

// TryPublishBatch is [Publisher.TryPublishBatch].
func (l *LockedPublisher) TryPublishBatch(messages [][]byte) error {
	l.p.turns.Lock()
	defer l.p.turns.Unlock()
	return l.p.TryPublishBatch(messages)
}

// Close closes the publisher.
func (l *LockedPublisher) Close() error { return l.p.Close() }
