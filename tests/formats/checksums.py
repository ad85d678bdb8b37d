"""The sums of the formats: CRC-32C (docs/formats/README.md, "Conventions") and XXH64 (tree.md, "Slot")."""
import struct

POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
MASK32, MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
PRIMES = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def table_of_bytes():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


def table_of_pairs():
    """What two bytes at once do to a sum: half the steps for the same sum."""
    single, table = table_of_bytes(), []
    for pair in range(65536):
        first = single[pair & 0xFF] ^ pair >> 8
        table.append(single[first & 0xFF] ^ first >> 8)
    return table


SINGLE, PAIRS = table_of_bytes(), table_of_pairs()


def crc32c(*parts):
    """The sum over the parts, one behind the other."""
    crc = MASK32
    for part in parts:
        even = len(part) & ~1
        for pair in struct.unpack(f"<{even // 2}H", part[:even]):
            crc = PAIRS[(crc ^ pair) & 0xFFFF] ^ crc >> 16
        for byte in part[even:]:
            crc = SINGLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ MASK32


def rotated(value, bits):
    return (value << bits | value >> (64 - bits)) & MASK64


def xxh_round(lane, word):
    return rotated((lane + word * PRIMES[1]) & MASK64, 31) * PRIMES[0] & MASK64


def xxh64(data, seed=0):
    """XXH64 as its public specification (xxhash_spec.md of the xxHash project) describes it."""
    at = 0
    if len(data) >= 32:
        lanes = [seed + PRIMES[0] + PRIMES[1], seed + PRIMES[1], seed, seed - PRIMES[0]]
        lanes = [lane & MASK64 for lane in lanes]
        while at + 32 <= len(data):
            words = struct.unpack_from("<4Q", data, at)
            lanes = [xxh_round(lane, word) for lane, word in zip(lanes, words)]
            at += 32
        sum64 = sum(rotated(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & MASK64
        for lane in lanes:
            sum64 = ((sum64 ^ xxh_round(0, lane)) * PRIMES[0] + PRIMES[3]) & MASK64
    else:
        sum64 = (seed + PRIMES[4]) & MASK64
    return xxh_end((sum64 + len(data)) & MASK64, data[at:])


def xxh_end(sum64, rest):
    at = 0
    while at + 8 <= len(rest):
        word, = struct.unpack_from("<Q", rest, at)
        sum64 = (rotated(sum64 ^ xxh_round(0, word), 27) * PRIMES[0] + PRIMES[3]) & MASK64
        at += 8
    if at + 4 <= len(rest):
        word, = struct.unpack_from("<I", rest, at)
        sum64 = (rotated(sum64 ^ word * PRIMES[0] & MASK64, 23) * PRIMES[1] + PRIMES[2]) & MASK64
        at += 4
    for byte in rest[at:]:
        sum64 = rotated(sum64 ^ byte * PRIMES[4] & MASK64, 11) * PRIMES[0] & MASK64
    sum64 = (sum64 ^ sum64 >> 33) * PRIMES[1] & MASK64
    sum64 = (sum64 ^ sum64 >> 29) * PRIMES[2] & MASK64
    return sum64 ^ sum64 >> 32
