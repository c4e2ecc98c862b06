//! RocketMQ's own binary header (`ROCKETMQ_SERIALIZE_TYPE=ROCKETMQ`).

use super::*;

pub fn decode(mut header: &[u8]) -> Result<Command, BadFrame> {
    const SHORT: BadFrame = BadFrame::Header("a binary header that ends too early");
    if header.len() < 17 {
        return Err(SHORT);
    }
    let mut command = Command {
        code: header.get_i16() as i32,
        language: Language(header.get_u8()),
        version: header.get_i16() as i32,
        opaque: header.get_i32(),
        flag: header.get_i32(),
        ..Command::default()
    };
    let remark = text32(&mut header).ok_or(SHORT)?;
    command.remark = (!remark.is_empty()).then(|| remark.to_owned());
    if header.is_empty() {
        return Ok(command);
    }
    let size = header.try_get_i32().map_err(|_| SHORT)?;
    let mut fields = usize::try_from(size).ok().and_then(|size| header.get(..size)).ok_or(SHORT)?;
    command.ext.json.reserve(fields.len() * 2);
    while !fields.is_empty() {
        let key_size = usize::from(fields.try_get_u16().map_err(|_| SHORT)?);
        let key = fields.split_off(..key_size).and_then(|key| std::str::from_utf8(key).ok()).ok_or(SHORT)?;
        let value = text32(&mut fields).ok_or(SHORT)?;
        command.ext.add(key, value);
    }
    Ok(command)
}

fn text32<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    let size = usize::try_from(from.try_get_i32().ok()?).ok()?;
    std::str::from_utf8(from.split_off(..size)?).ok()
}
