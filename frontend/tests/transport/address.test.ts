import { describe, expect, it } from 'vitest';

import { shareLink, parseAddress } from '../../src/transport/address';
import { eventsUrl } from '../../src/transport/api';

describe('the name of a session behind the # of the address', () => {
  it('is its id, or its id and what opens it to others', () => {
    expect(parseAddress('0aAbc')).toEqual({ session: '0aAbc', share: null });
    expect(parseAddress('0aAbc/s-e_c')).toEqual({ session: '0aAbc', share: 's-e_c' });
    expect(parseAddress('0aAbc/')).toEqual({ session: '0aAbc', share: '' });
  });

  it('comes back from the link that was passed on', () => {
    const { hash } = new URL(shareLink('0aAbc', 's-e_c'));
    expect(parseAddress(decodeURIComponent(hash.slice(1)))).toEqual({ session: '0aAbc', share: 's-e_c' });
  });

  it('opens a stream with its capability and its cursor', () => {
    expect(eventsUrl('0aAbc', null)).toBe('/sessions/0aAbc/events');
    expect(eventsUrl('0aAbc', '1.1-5')).toBe('/sessions/0aAbc/events?last_event_id=1.1-5');
    expect(eventsUrl('0aAbc/s-e_c', '1.1-5')).toBe('/sessions/0aAbc/events?share=s-e_c&last_event_id=1.1-5');
  });
});
