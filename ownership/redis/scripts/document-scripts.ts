/** Scripts about documents. KEYS[3] is their channel, which gets the name of what changed. ARGV from 3 on; heads and codes: `base.lua.ts`. */
import { base, baseThatGrows } from './base.lua.ts';
import { defineScript, lua } from './script.ts';

/** Takes a name. Gives { content, etag }, or nothing. */
export const readDocumentScript = defineScript(
  'read document',
  base,
  lua`
local found = call('HMGET', prefix .. 'document:' .. ARGV[3], 'content', 'etag')
return found[1] and found or {}
`,
);

/** Takes name, content, the ETag that must be there ('' for none). Gives { '1', new ETag } or { '0', content, etag }. */
export const writeDocumentScript = defineScript(
  'write document',
  baseThatGrows,
  lua`
local document = prefix .. 'document:' .. ARGV[3]
local found = call('HMGET', document, 'content', 'etag')
if (found[2] or '') ~= ARGV[5] then return { '0', found[1] or '', found[2] or '' } end
-- From the counter that never goes back: content that returns to an old text still gets an ETag of its own.
call('HINCRBY', META, 'fence', 1)
local etag = 'e' .. call('HGET', META, 'fence')
call('HSET', document, 'content', ARGV[4], 'etag', etag)
call('PUBLISH', KEYS[3], ARGV[3])
return { '1', etag }
`,
);
