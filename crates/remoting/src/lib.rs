//! RocketMQ's frames over TCP: one server, one client.
