//! The device that a verb runs on.

use beit::{Device, DeviceSettings, Watch};

/// Opens the device and says which it is.
pub(crate) fn open(settings: &DeviceSettings, watch: &Watch) -> anyhow::Result<Device> {
    let device = Device::open(settings)?;
    device.announce(watch);
    Ok(device)
}
