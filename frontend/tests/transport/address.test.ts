import { describe, expect, it } from 'vitest';

import { shareLink, parseAddress } from '../../src/transport/address';
import { eventsUrl } from '../../src/transport/api';

describe('the session in the fragment of the address', () => {
  it('is an id, or an id and a capability', () => {
    expect(parseAddress('0aAbc')).toEqual({ session: '0aAbc', share: null });
    expect(parseAddress('0aAbc/s-e_c')).toEqual({ session: '0aAbc', share: 's-e_c' });
    expect(parseAddress('0aAbc/')).toEqual({ session: '0aAbc', share: '' });
  });

  it('is the same in a share link', () => {
    const { hash } = new URL(shareLink('0aAbc', 's-e_c'));
    expect(parseAddress(decodeURIComponent(hash.slice(1)))).toEqual({ session: '0aAbc', share: 's-e_c' });
  });

  it('gives the URL of its events, with the capability and the cursor', () => {
    expect(eventsUrl('0aAbc', null)).toBe('/sessions/0aAbc/events');
    expect(eventsUrl('0aAbc', '1.1-5')).toBe('/sessions/0aAbc/events?last_event_id=1.1-5');
    expect(eventsUrl('0aAbc/s-e_c', '1.1-5')).toBe('/sessions/0aAbc/events?share=s-e_c&last_event_id=1.1-5');
  });
});
