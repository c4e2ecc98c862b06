//! Producers, consumers and routes for any RocketMQ cluster.
