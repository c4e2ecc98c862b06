//! Messages on disk in Apache RocketMQ's format: commit log, consume queues, index.
