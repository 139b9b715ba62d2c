"""What controllers are made of: informers, indexes, queues, controllers, expectations, events."""
