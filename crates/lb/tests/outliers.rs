//! Endpoints that are taken out for how their calls end, on a clock that is moved by hand.

mod outliers {
    mod heard;
    mod model;
    mod upkeep;
}
