"""The little of the protocol buffers wire format that the CRI needs.

A message is a dict from field number to value. Values to encode: bool and int (varint), str and
bytes, dict (a message), Map (string keys and values) and lists of these (repeated fields, not
packed, which every decoder takes). A decoded message maps each number to the list of its raw
values: int or bytes.
"""


class Map(dict):
    """A protobuf map<string, string>: on the wire a list of messages {1: key, 2: value}."""


def varint(number):
    """Encodes an integer; a negative one as the 64 bits of its two's complement."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode(message):
    """Encodes a message."""
    return b"".join(field(number, value) for number, value in sorted(message.items()))


def field(number, value):
    """Encodes one field, or nothing for None."""
    if value is None:
        return b""
    if isinstance(value, Map):
        return b"".join(field(number, {1: key, 2: text}) for key, text in value.items())
    if isinstance(value, list):
        return b"".join(field(number, item) for item in value)
    if isinstance(value, (bool, int)):
        return varint(number << 3) + varint(int(value))
    if isinstance(value, dict):
        value = encode(value)
    elif isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def take_varint(data, at):
    """Reads a varint; returns it and the offset after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def decode(data):
    """Decodes a message: {number: [int or bytes, ...]}."""
    fields, at = {}, 0
    while at < len(data):
        tag, at = take_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = take_varint(data, at)
        else:
            if kind == 2:
                size, at = take_varint(data, at)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise ValueError(f"wire type {kind} of field {number}")
            value, at = data[at : at + size], at + size
            if len(value) != size:
                raise ValueError(f"field {number} is cut off")
        fields.setdefault(number, []).append(value)
    return fields


def get(data, *path, default=None):
    """The value at a path of field numbers: get(reply, 1, 4) is field 4 of message 1."""
    value = data
    for number in path:
        values = decode(value).get(number)
        if not values:
            return default
        value = values[-1]
    return value


def text(data, *path):
    """A string field, empty if it is absent."""
    return get(data, *path, default=b"").decode(errors="replace")


def number(data, *path):
    """An integer field as a signed number, 0 if it is absent (which is how zero is sent)."""
    value = get(data, *path, default=0)
    return value - (1 << 64) if value >= 1 << 63 else value
