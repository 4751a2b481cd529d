//! Alibaba Cloud Simple Log Service: client and consumer group.
