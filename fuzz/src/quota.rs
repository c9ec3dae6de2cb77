//! Quotas as text, and in JSON and TOML: whatever is read is written back and read the same; and
//! what is refused names a field.

use stanchion_ratelimit::Quota;

const FIELDS: [&str; 4] = ["rate", "count", "period", "burst"];

pub(crate) fn run(data: &[u8]) {
    if let Ok(quota) = serde_json::from_slice::<Quota>(data) {
        let json = serde_json::to_string(&quota).expect("a quota can be written");
        assert_eq!(serde_json::from_str::<Quota>(&json).ok(), Some(quota));
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match text.parse::<Quota>() {
        Ok(quota) => {
            assert!(quota.count() > 0 && quota.burst() > 0 && !quota.period().is_zero());
            assert_eq!(quota.to_string().parse::<Quota>().as_ref(), Ok(&quota));
            let toml = toml::Value::try_from(quota).expect("a quota can be written");
            assert_eq!(toml.try_into::<Quota>().as_ref(), Ok(&quota));
        }
        Err(error) => {
            assert!(FIELDS.contains(&error.field()), "{error}");
            assert!(error.to_string().contains(error.field()), "{error}");
        }
    }
    if let Ok(quota) = toml::from_str::<Quota>(text) {
        let toml = toml::Value::try_from(quota).expect("a quota can be written");
        assert_eq!(toml.try_into::<Quota>().as_ref(), Ok(&quota));
    }
}
