//! Terminal ioctls.
