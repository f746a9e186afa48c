import type { FastifyInstance } from 'fastify'
import { type Static, Type } from 'typebox'
import type { Identity } from '../../../core/people/identities.ts'
import type { DialectOptions } from '../../dialect.ts'
import { personOf } from '../auth.ts'

const MeChange = Type.Object(
  {
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 254 })),
    time_zone: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    // The whole request is refused for a PIN that cannot be, before a part of it is done.
    pin: Type.Optional(Type.String({ pattern: '^[!-~]{4,64}$' })),
  },
  { additionalProperties: false },
)

/** A person's own settings. */
export function meRoutes(app: FastifyInstance, { core }: DialectOptions): void {
  async function render({ id, profile }: Identity) {
    return {
      id,
      email: profile.email,
      name: profile.displayName,
      time_zone: profile.timeZone,
      has_pin: await core.pins.isSet(id),
    }
  }

  app.get('/me', async (request) => render(await core.identities.get(personOf(request))))

  app.patch<{ Body: Static<typeof MeChange> }>(
    '/me',
    { schema: { body: MeChange } },
    async (request) => {
      const { name, time_zone, pin } = request.body
      const person = await core.identities.change(personOf(request), {
        ...(name !== undefined && { displayName: name }),
        ...(time_zone !== undefined && { timeZone: time_zone }),
      })
      if (pin !== undefined) await core.pins.set(person.id, pin)
      return render(person)
    },
  )
}
