-- Wireshark dissector for what FORMATS.md adds to Mobile IPv6: Mobility Header type 11 with its
-- subtypes, mobility option 18 with its subtypes, the M bit, and the ORIGIN_IP option.
--
--   wireshark -X lua_script:agents/wire/manyhomes.lua capture.pcap
--
-- Filter on `manyhomes`, or on one field, such as `manyhomes.subtype == 4`. Display only: what is
-- shown of a message's fields is not checked further. Keys in SA entries are not shown.

local MOBILITY_HEADER = 135
local EXPERIMENTAL_MESSAGE = 11
local BINDING_ACKNOWLEDGEMENT = 6
local EXPERIMENTAL_OPTION = 18
local ORIGIN_IP = 0x1e

local manyhomes = Proto("manyhomes", "manyhomes")
local option18 = Proto("manyhomes_option", "manyhomes mobility option")
local origin = Proto("manyhomes_origin", "manyhomes ORIGIN_IP")

local SUBTYPES = {
  [1] = "Hello", [2] = "Keepalive",
  [3] = "Binding Information Request", [4] = "Binding Information Update",
  [5] = "Binding Information Acknowledgement",
  [6] = "SA Information Request", [7] = "SA Information Update",
  [8] = "SA Information Acknowledgement", [9] = "SA Information Renew Request",
  [10] = "Replay Floor",
  [11] = "Primary HA Switch", [12] = "Primary HA Switch Acknowledgement",
  [13] = "Table Request", [14] = "Table Segment", [15] = "Table End",
  [16] = "Path Costs", [17] = "Leave", [18] = "Leave Acknowledgement",
  [32] = "Accusation", [33] = "Revocations", [34] = "Isolation Acknowledgement",
}
-- What bit 0x01 of the flags octet says, by subtype.
local FLAGS = { [1] = "ready", [2] = "response", [4] = "solicited", [7] = "solicited",
  [13] = "mutual" }
local STATUS = {
  [0] = "Accepted", [1] = "Role superseded", [128] = "Reason unspecified", [129] = "Administratively prohibited",
  [130] = "Insufficient resources", [131] = "SPI out of range", [132] = "Not found",
  [133] = "Superseded", [134] = "Not primary",
}
local MISCONDUCT = {
  [1] = "SID of another", [2] = "Incarnation contradicts SID", [3] = "Role of another",
  [4] = "Role without Update", [5] = "SA never made", [6] = "Floor beyond numbers",
}
local MODES = { [1] = "transport", [2] = "tunnel" }
local TRANSFORMS = {
  [1] = "aes-128-gcm", [2] = "aes-128-cbc-hmac-sha2-256", [3] = "chacha20-poly1305",
}
local STATES = { [0] = "larval", [1] = "mature", [2] = "dying", [3] = "dead" }
local OPTIONS = {
  [1] = "Multi-sender capable", [2] = "Priority", [3] = "SID table", [4] = "CN to HA map",
}

local f = {
  subtype = ProtoField.uint8("manyhomes.subtype", "Subtype", base.DEC, SUBTYPES),
  flags = ProtoField.uint8("manyhomes.flags", "Flags", base.HEX),
  identifier = ProtoField.uint16("manyhomes.identifier", "Identifier", base.HEX),
  receiver_incarnation =
    ProtoField.uint16("manyhomes.receiver_incarnation", "Receiver's incarnation"),
  home_address = ProtoField.ipv6("manyhomes.home_address", "Home address"),
  spi = ProtoField.uint32("manyhomes.spi", "SPI", base.HEX),
  status = ProtoField.uint8("manyhomes.status", "Status", base.DEC, STATUS),
  incarnation = ProtoField.uint16("manyhomes.incarnation", "Incarnation"),
  interval = ProtoField.uint32("manyhomes.interval_ms", "Interval [ms]"),
  epoch = ProtoField.uint32("manyhomes.epoch", "Epoch"),
  index = ProtoField.uint8("manyhomes.index", "HA index"),
  successor = ProtoField.uint8("manyhomes.successor", "Successor's index"),
  member = ProtoField.ipv6("manyhomes.member", "HA's own address"),
  previous = ProtoField.uint8("manyhomes.previous", "Previous primary's index"),
  accused = ProtoField.uint8("manyhomes.accused", "Accused HA's index"),
  misconduct = ProtoField.uint8("manyhomes.misconduct", "Misconduct", base.DEC, MISCONDUCT),
  digest = ProtoField.uint64("manyhomes.part.digest", "Digest of the whole", base.HEX),
  whole = ProtoField.uint32("manyhomes.part.length", "Length of the whole"),
  offset = ProtoField.uint32("manyhomes.part.offset", "Offset of the part"),
  part = ProtoField.bytes("manyhomes.part", "Part"),
  first_segment = ProtoField.uint32("manyhomes.first_segment", "First segment"),
  window = ProtoField.uint16("manyhomes.window", "Window"),
  number = ProtoField.uint32("manyhomes.segment", "Segment number"),
  segments = ProtoField.uint32("manyhomes.segments", "Segments in all"),
  unknown = ProtoField.bytes("manyhomes.unknown", "Unknown field"),
  care_of_address = ProtoField.ipv6("manyhomes.care_of_address", "Care-of address"),
  sequence = ProtoField.uint16("manyhomes.sequence", "BU sequence"),
  bu_flags = ProtoField.uint16("manyhomes.bu_flags", "BU flags", base.HEX),
  remaining = ProtoField.uint32("manyhomes.remaining_ms", "Remaining lifetime [ms]"),
  registration = ProtoField.uint32("manyhomes.registration", "Registration instance"),
  primary = ProtoField.uint8("manyhomes.primary", "Primary's index"),
  multi_sender = ProtoField.bool("manyhomes.multi_sender", "Multi-sender capable", 8, nil, 0x80),
  deleted = ProtoField.bool("manyhomes.deleted", "Deleted", 8, nil, 0x40),
  unordered = ProtoField.bool("manyhomes.unordered", "Unordered", 8, nil, 0x20),
  priority = ProtoField.uint8("manyhomes.priority", "Priority"),
  known = ProtoField.uint64("manyhomes.known", "HA indexes that the MN knows", base.HEX),
  source = ProtoField.ipv6("manyhomes.sa.source", "SA source"),
  destination = ProtoField.ipv6("manyhomes.sa.destination", "SA destination"),
  generation = ProtoField.uint32("manyhomes.sa.generation", "Generation"),
  table_version = ProtoField.uint32("manyhomes.sid_table.version", "SID table version"),
  highest = ProtoField.uint64("manyhomes.sa.highest", "Highest number"),
  mode = ProtoField.uint8("manyhomes.sa.mode", "Mode", base.DEC, MODES),
  transform = ProtoField.uint8("manyhomes.sa.transform", "Transform", base.DEC, TRANSFORMS),
  state = ProtoField.uint8("manyhomes.sa.state", "State", base.DEC, STATES),
  key_length = ProtoField.uint8("manyhomes.sa.key_length", "Key length (key not shown)"),
  sid = ProtoField.uint16("manyhomes.sid", "SID", base.HEX),
  floor = ProtoField.uint64("manyhomes.floor", "Number"),
  outbound = ProtoField.bool("manyhomes.floor.outbound", "Outbound", 8, nil, 0x80),
  correspondent = ProtoField.ipv6("manyhomes.path.correspondent", "Correspondent"),
  octets = ProtoField.uint64("manyhomes.path.octets", "Octets"),
  mobile_time = ProtoField.uint32("manyhomes.path.mobile_us", "RTT to the mobile node [us]"),
  correspondent_time =
    ProtoField.uint32("manyhomes.path.correspondent_us", "RTT to the correspondent [us]"),
  multihomed = ProtoField.bool("manyhomes.multihomed", "Multihomed (M)", 8, nil, 0x01),
}
manyhomes.fields = f

local o = {
  subtype = ProtoField.uint8("manyhomes.option", "Option", base.DEC, OPTIONS),
  priority = ProtoField.uint8("manyhomes.option.priority", "Priority"),
  first = ProtoField.bool("manyhomes.option.first", "First part", 8, nil, 0x80),
  version = ProtoField.uint32("manyhomes.option.version", "Version"),
  index = ProtoField.uint8("manyhomes.option.index", "HA index"),
  address = ProtoField.ipv6("manyhomes.option.address", "HA's own address"),
  sid = ProtoField.uint16("manyhomes.option.sid", "SID of the HA meant", base.HEX),
  correspondent = ProtoField.ipv6("manyhomes.option.correspondent", "Correspondent"),
}
option18.fields = o
local origin_address = ProtoField.ipv6("manyhomes.origin", "ORIGIN_IP")
origin.fields = { origin_address }

local e_short = ProtoExpert.new(
  "manyhomes.short", "Field too short or too long", expert.group.MALFORMED, expert.severity.ERROR)
manyhomes.experts = { e_short }

-- Each layout is a list of {field, octets}; `false` for reserved octets, several fields for bits.
local BINDING_ENTRY = {
  { f.home_address, 16 }, { f.care_of_address, 16 }, { f.sequence, 2 }, { f.bu_flags, 2 },
  { f.remaining, 4 }, { f.registration, 4 }, { f.epoch, 4 }, { f.primary, 1 },
  { { f.multi_sender, f.deleted, f.unordered }, 1 }, { f.priority, 1 }, { false, 1 }, { f.known, 8 },
}
local SA_ENTRY = {
  { f.home_address, 16 }, { f.source, 16 }, { f.destination, 16 }, { f.spi, 4 },
  { f.generation, 4 }, { f.table_version, 4 }, { f.highest, 8 }, { f.mode, 1 },
  { f.transform, 1 }, { f.state, 1 }, { false, 1 },
}
local FLOOR_ENTRY = { { f.spi, 4 }, { f.sid, 2 }, { f.floor, 8 }, { f.outbound, 1 } }
local PATH_ENTRY = {
  { f.home_address, 16 }, { f.correspondent, 16 }, { f.octets, 8 }, { f.mobile_time, 4 },
  { f.correspondent_time, 4 },
}
local MEMBER_ENTRY = { { f.index, 1 }, { false, 1 }, { f.member, 16 } }
local FIELDS = {
  [2] = { "Home address", { { f.home_address, 16 } } },
  [3] = { "SPI", { { f.spi, 4 } } },
  [4] = { "Status", { { f.status, 1 } } },
  [5] = { "Hello", { { f.incarnation, 2 }, { f.interval, 4 } } },
  [6] = { "Role", { { f.epoch, 4 }, { f.index, 1 } } },
  [7] = { "Window", { { f.first_segment, 4 }, { f.window, 2 } } },
  [8] = { "Segment", { { f.number, 4 } } },
  [9] = { "Total", { { f.segments, 4 } } },
  [10] = { "Successor", { { f.successor, 1 } } },
  [16] = { "Binding entry", BINDING_ENTRY },
  [17] = { "SA entry", SA_ENTRY, "key" },
  [18] = { "Replay floor", FLOOR_ENTRY },
  [19] = { "Path entry", PATH_ENTRY },
  [20] = { "Member entry", MEMBER_ENTRY },
  [32] = { "Previous", { { f.previous, 1 } } },
  [33] = { "Accused", { { f.accused, 1 }, { f.incarnation, 2 }, { f.misconduct, 1 } } },
  [34] = { "Part", { { f.digest, 8 }, { f.whole, 4 }, { f.offset, 4 } } },
  [35] = { "Octets", {}, "octets" },
}

local function add_fields(tree, value, layout)
  local offset = 0
  for _, part in ipairs(layout) do
    local field, length = part[1], part[2]
    if offset + length > value:len() then
      tree:add_proto_expert_info(e_short)
      return nil
    end
    local octets = value(offset, length)
    if type(field) == "table" then
      for _, bit in ipairs(field) do tree:add(bit, octets) end
    elseif field then
      tree:add(field, octets)
    end
    offset = offset + length
  end
  return offset
end

local function add_value(tree, kind, whole, value)
  local known = FIELDS[kind]
  if not known then
    tree:add(f.unknown, whole)
    return
  end
  local branch = tree:add(manyhomes, whole, known[1])
  local read = add_fields(branch, value, known[2])
  if read and known[3] == "key" then
    branch:add(f.key_length, value(read), value:len() - read)
  elseif read and known[3] == "octets" then
    if value:len() > 0 then branch:add(f.part, value(read)) end
  elseif read and read ~= value:len() then
    branch:add_proto_expert_info(e_short)
  end
end

local function add_options(tree, tvb, offset, length)
  while offset < length do
    local kind = tvb(offset, 1):uint()
    if kind == 0 then
      offset = offset + 1
    elseif offset + 2 > length or offset + 2 + tvb(offset + 1, 1):uint() > length then
      tree:add_proto_expert_info(e_short)
      return
    else
      local size = 2 + tvb(offset + 1, 1):uint()
      if kind ~= 1 and size > 2 then
        add_value(tree, kind, tvb(offset, size), tvb(offset + 2, size - 2):tvb())
      end
      offset = offset + size
    end
  end
end

local function dissect_message(tvb, pinfo, root, length)
  local subtype = tvb(6, 1):uint()
  local name = SUBTYPES[subtype] or ("Subtype " .. subtype)
  pinfo.cols.protocol = "manyhomes"
  pinfo.cols.info = name .. string.format(", identifier 0x%04x", tvb(8, 2):uint())
  local tree = root:add(manyhomes, tvb(6, length - 6), "manyhomes " .. name)
  tree:add(f.subtype, tvb(6, 1))
  local flags = tree:add(f.flags, tvb(7, 1))
  if FLAGS[subtype] and tvb(7, 1):bitfield(7, 1) == 1 then
    flags:append_text(" (" .. FLAGS[subtype] .. ")")
  end
  tree:add(f.identifier, tvb(8, 2))
  tree:add(f.receiver_incarnation, tvb(10, 2))
  add_options(tree, tvb, 14, length)
end

-- The Mobility Header: Wireshark's own dissector first, then what it does not know.
local ip_protocols = DissectorTable.get("ip.proto")
local own = ip_protocols:get_dissector(MOBILITY_HEADER)

function manyhomes.dissector(tvb, pinfo, root)
  own:call(tvb, pinfo, root)
  if tvb:len() < 8 then return end
  local length = (tvb(1, 1):uint() + 1) * 8
  if length > tvb:len() then return end
  local kind = tvb(2, 1):uint()
  if kind == EXPERIMENTAL_MESSAGE and length >= 16 then
    dissect_message(tvb, pinfo, root, length)
  elseif kind == BINDING_ACKNOWLEDGEMENT then
    local tree = root:add(manyhomes, tvb(7, 1), "manyhomes Binding Acknowledgement")
    tree:add(f.multihomed, tvb(7, 1))
  end
end
ip_protocols:set(MOBILITY_HEADER, manyhomes)

-- Mobility option 18; the buffer begins with the option's type.
local SID_ENTRY = { { o.index, 1 }, { false, 1 }, { o.address, 16 } }
local MAP_ENTRY = { { o.sid, 2 }, { o.correspondent, 16 }, { o.address, 16 } }

function option18.dissector(tvb, pinfo, root)
  local tree = root:add(option18, tvb(), "MIPv6 Option - manyhomes")
  if tvb:len() < 4 then return end
  local subtype = tvb(2, 1):uint()
  tree:add(o.subtype, tvb(2, 1))
  tree:append_text(" " .. (OPTIONS[subtype] or subtype))
  if subtype == 1 and tvb:len() >= 8 then
    tree:add(o.version, tvb(4, 4))
  elseif subtype == 2 then
    tree:add(o.priority, tvb(3, 1))
  elseif subtype == 3 and tvb:len() >= 8 then
    tree:add(o.first, tvb(3, 1))
    tree:add(o.version, tvb(4, 4))
    for offset = 8, tvb:len() - 18, 18 do
      add_fields(tree:add(option18, tvb(offset, 18), "Sender"), tvb(offset, 18):tvb(), SID_ENTRY)
    end
  elseif subtype == 4 then
    for offset = 4, tvb:len() - 34, 34 do
      add_fields(tree:add(option18, tvb(offset, 34), "Path"), tvb(offset, 34):tvb(), MAP_ENTRY)
    end
  end
end
DissectorTable.get("mip6.option"):set(EXPERIMENTAL_OPTION, option18)

-- ORIGIN_IP: Wireshark has no table of IPv6 options, so this looks at what it has found.
local option_type = Field.new("ipv6.opt.type")

function origin.dissector(tvb, pinfo, root)
  for _, found in ipairs({ option_type() }) do
    if found.value == ORIGIN_IP then
      local at, source = found.offset, found.source
      if at + 18 <= source:len() and source(at + 1, 1):uint() == 16 then
        root:add(origin, source(at, 18), "manyhomes ORIGIN_IP"):add(
          origin_address, source(at + 2, 16))
      end
    end
  end
end
register_postdissector(origin)
