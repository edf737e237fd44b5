//! The one integration binary. Each module is one subject; the order is the road of a record.
