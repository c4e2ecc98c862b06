//! One struct per request, naming its code and its reply.
